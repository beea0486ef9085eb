"""Datasets: functions that return records, one reader that turns records into pixels, and batched transforms."""
