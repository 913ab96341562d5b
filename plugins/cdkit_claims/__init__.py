"""Published findings, registered as files before anybody looked: what they say, and what would show it."""
