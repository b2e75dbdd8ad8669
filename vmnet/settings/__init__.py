"""What the user wants: flags, environment, file, each checked once; and what resolv.conf says."""
