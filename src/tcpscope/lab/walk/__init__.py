"""Every row of the life cycle on real kernel sockets: bring one into a state, cause the event, see what it does."""
