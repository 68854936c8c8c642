"""The commands of ``nascli``, one file each; the module is named as the command."""

__all__: list[str] = []
