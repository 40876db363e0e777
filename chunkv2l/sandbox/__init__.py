"""Read a stranger's file in a process of its own, with limits of memory, CPU time and open files, and no network.

`parent.run_task` starts the process, `child` sets its limits and answers in JSON, `tasks` has what can be asked of it.
The child may be taken over by what it reads, so nothing that it says is believed but plain JSON of bounded size.
"""
