"""Stand-in of Pillow for the resident wrapper's test."""
