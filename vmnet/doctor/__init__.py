"""`vmnet doctor`: evidence gathered at one place, pure checks over it, findings with what to do about each."""
