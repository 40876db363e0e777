"""python -m chunkv2l"""

from chunkv2l.cli.main import main

if __name__ == "__main__":
    main()
