"""What certification returns: certificates, their file, their table, their evidence."""
