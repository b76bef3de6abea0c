"""The commands of the command line, one module each, with `add_parser(subparsers)` and `run(args) -> int`."""
