"""Real workers, a real database and a real broker, all of them broken at random.

`python -m benchmarks.chaos --help` says how to run it. `host` is the
application, `nursery` the program that brings its workers up, `fleet` what the
conductor knows of them, `traffic` the clients and the people, `faults` what is
done to everybody, `audit` what must be true in the end.
"""
