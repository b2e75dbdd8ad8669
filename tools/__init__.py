"""What is run while vmnet is built or worked on, and never where it is used."""
