"""Serve movies' indexes to people and programs: a page, a JSON API, an OpenAI-compatible endpoint, and MCP tools.

`app.create_app` puts the doors together; behind all of them stands `service.Service`: the catalogue of movies under the
given paths, and one model with a bounded queue of questions. Needs the extra: pip install 'chunkv2l[serve]'.
"""
