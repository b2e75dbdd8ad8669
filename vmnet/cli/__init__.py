"""What people type: the parser, the verbs and their options. Errors become exit codes here, and only here."""
