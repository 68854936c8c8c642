"""The command line of the NAS toolkit: a door to nas_search. Parse, one library call, print."""

__all__: list[str] = []
