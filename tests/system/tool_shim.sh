#!/bin/sh
# Stands before a tool in PATH: counts the call, and at the one that the test chose does what it asks for.
tool=${0##*/}
PATH=$FAULT_PATH
export PATH
number=1
set -C
# Only one of several that run side by side can make the file (O_EXCL).
while ! true > "$FAULT_DIR/$number"; do number=$((number + 1)); done 2>/dev/null
set +C
echo "$tool $*" > "$FAULT_DIR/$number"
if [ "$number" = "${FAULT_FAILED-}" ]; then
    FAULT_KIND=fail
elif [ "$number" != "$FAULT_AT" ]; then
    exec "$tool" "$@"
fi

# The first half of the work, then a line that can't be done in the place of the next.
half() {
    case "$tool $*" in
    *"-batch -") bad='link add x type nosuchtype' ;;
    *tables-restore*) bad='--nosuch' ;;
    *sysctl*)
        [ $# -gt 6 ] && "$tool" "$1" "$2" "$3" "$4" "$5" "$6" "$7"
        return 1 ;;
    *) return 1 ;;
    esac
    cat > "$FAULT_DIR/input"
    middle=$(($(wc -l < "$FAULT_DIR/input") / 2 + 1))
    sed "${middle}s/.*/$bad/" "$FAULT_DIR/input" | "$tool" "$@"
}

case $FAULT_KIND in
fail) ;;
middle) half "$@"; exit 1 ;;
kill-before) kill -9 $PPID; exit 1 ;;
kill-while) kill -9 $PPID; sleep 0.5; exec "$tool" "$@" ;;
kill-after)
    case "$*" in
    *keeper*) (sleep 0.05; kill -9 $PPID) & exec "$tool" "$@" ;;
    esac
    "$tool" "$@"
    kill -9 $PPID ;;
*) kill "-$FAULT_KIND" $PPID; exec "$tool" "$@" ;;
esac
echo "$tool: made to fail" >&2
exit 1
