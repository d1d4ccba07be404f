"""From pictures to record files: sources, lists, several processes, restart markers for files that exist."""
