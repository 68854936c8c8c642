"""``python -m nas_cli`` is ``nascli``."""

from nas_cli.main import main

if __name__ == "__main__":
    main()
