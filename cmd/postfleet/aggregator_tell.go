package main

import "time"

// tellPeersEvery is how often the nodes of a static fleet hear of each other's addresses, selectors and clocks.
const tellPeersEvery = time.Minute
