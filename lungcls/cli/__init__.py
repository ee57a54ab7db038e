"""The command line: the only part of lungcls that prints."""
