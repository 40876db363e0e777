"""A library: a folder of indexes, asked together (`library.Library`), built together (`builds.build_folder`)."""
