"""VideoSim: a simulated world in which clicks and long-term outcomes can conflict."""
