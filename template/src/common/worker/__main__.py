"""`python -m common.worker FD`: see `main.py`."""

from .main import main

main()
