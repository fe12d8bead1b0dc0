"""VideoSim: a small world in which clicks and the long term can part; no facts about people."""
