"""The commands. No other room imports this one."""
