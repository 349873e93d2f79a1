"""The command line's commands, one file each. They sit under the roof: they may wire every room, nobody
imports them."""
