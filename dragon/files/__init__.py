"""Files: written whole or not at all, found by rule, recognised by content; weights and logs."""
