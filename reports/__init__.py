"""What a run found: its records, the statistics on them, and the tables made from them."""
