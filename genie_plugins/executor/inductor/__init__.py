"""Hot programs compiled by Inductor, compared with their replay, and run instead of it."""
