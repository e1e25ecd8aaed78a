"""Pages for people with one kind of question: those who decide, those who are called, those who look for the cause."""
