"""What the tests stand on is tested where it reads what differs between Debian releases."""
