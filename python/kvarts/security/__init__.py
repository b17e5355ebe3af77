"""Who may do what: tokens by which nodes prove that they may join. Pure: time and randomness come with the call."""
