"""Whether a packet arrives: a walk through the live kernel's routes, cables and rules that sends nothing.

Rooms: packet; tables (the output of iptables-save), match (one rule), chains (many); scene (what a namespace
has); routes and routing; segment (who is on a cable); hooks (the order of tables, connections); walk; intent
(the record), verdict, fix; probe.
"""
