"""Readers, one for each format, and the door to them: files and pipes as blocks of rows."""
