"""`manage.py explore_saga`: a scenario in every order in which its messages can arrive.

The real steps and the real handlers run, on a database in memory (`memory`), one message at a time
(`machine`). What a handler does depends on its module's rows and the message alone, since modules share
nothing; so each such pair is run once, and the states of the whole house (`worlds`) are put together from
what came of it. `search` goes through them, breadth first, with what may go wrong on the way; `invariants`
says what must hold everywhere, `findings` what does not, with the shortest way there, and `replay` walks
such a way again in a test.

Models: stateless model checking (Godefroid, *VeriSoft*, POPL 1997) for running the code itself; explicit
states that are recognised when seen again (Holzmann, *SPIN*).
"""
