"""The way from pictures to record files: sources, lists, several processes, restart markers for existing files."""
