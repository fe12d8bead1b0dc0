"""Large-scale video recommenders: claims of a RecSys 2023 workshop and their sources.

A room imports only the rooms before it: ``settings``, ``common``, ``items``, ``users``, and then
``goals`` and ``stream``, of which neither knows the other. In a room of a theme

- the method lies in files of its name (``quantizers.py``, ``downstream.py``, ``critics.py``, ...);
- ``arms.py`` states what is compared, one list of jobs for each table;
- ``study.py`` trains a job and loads what is finished, in the one loop of ``common.training``;
- ``experiments/`` has a function for each step, which reads the list and the study;
- ``figures.py`` draws the tables of the steps.

``experiment.py`` lists the steps of all rooms, ``config.py`` the profiles.
"""
