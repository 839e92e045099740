"""Keep what an experiment gives: a folder that processes share, that survives kills, and says what made it.

lock.json               data set, code, packages and machine that began it
configurations/NAME.json  each configuration: its hash and its record
metrics/NAME.json       each metric: its parameters, weights and code
records/PROCESS.jsonl   the truth: a line for each cell, in a file for each process; all files together are the results
pictures/NAME/seed-0/KEY.png
failures/*.txt          tracebacks of cells that failed
processes/PROCESS.json  the processes at work, with a heartbeat
claims/, unfinished/    what is being worked on, and files that are being written
inversions/             kept inversions, which may be deleted
"""
