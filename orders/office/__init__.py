"""The manager's office: what the admin shows of the processes, why they wait, and how they are mended."""
