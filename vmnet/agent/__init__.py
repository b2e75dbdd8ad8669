"""The road: where a binding is, how it is brought up and taken down, how lost facts are recalled."""
