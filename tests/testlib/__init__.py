"""What several rooms of tests build with: frames and messages, layouts, journals, a kernel without a kernel."""
