"""Measures trailload beside its peers: processes (`command`), the null sink (`sink`), real engines (`engine`), what they are fed
(`bench`), what is asked (`cases`), and how the answer looks (`table`)."""
