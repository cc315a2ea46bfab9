"""Privacy rules: pseudonyms for personal data, and dropped fields."""
