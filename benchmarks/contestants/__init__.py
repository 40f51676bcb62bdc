"""Who is measured: this library, its peers, and the floor."""
