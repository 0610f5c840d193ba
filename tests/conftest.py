"""What all tests share: signals as in a shell's foreground, however the tests were started."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs with SIGINT ignored, and whatever they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
