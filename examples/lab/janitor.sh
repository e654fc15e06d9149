# Ends a lab when its owner is gone, however it went.
#
# Reads the lab's belongings from standard input, one a line:
#   netns NAME    a network namespace
#   dir PATH      the run directory
#   group PGID    a process group
#   reaped PGID   its leader has been waited for
# At end of file nobody is left to hold the lab: ends the processes, then
# removes the namespaces and the directory. Says on standard output what it
# could not remove; silence means that nothing is left.

trap '' HUP INT TERM PIPE
exec 2>&1
spaces= groups= dir=

# Whether group $1 has a process that still runs (zombies do not).
runs() {
    wanted=$1
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        set -- ${line##*) } # state ppid pgrp ...
        [ "$3" = "$wanted" ] && [ "$1" != Z ] && [ "$1" != X ] && return 0
    done
    return 1
}

forget() {
    rest=
    for one in $groups; do
        [ "$one" = "$1" ] || rest="$rest $one"
    done
    groups=$rest
}

while read -r what name; do
    case $what in
        netns) spaces="$spaces $name" ;;
        dir) dir=$name ;;
        group) groups="$groups $name" ;;
        reaped) runs "$name" || forget "$name" ;;
    esac
done

for group in $groups; do
    kill -s KILL -- "-$group" 2>/dev/null
done
for space in $spaces; do
    for pid in $(ip netns pids "$space" 2>/dev/null); do
        kill -s KILL "$pid" 2>/dev/null # a shell that a user opened there
    done
done
for one in $groups; do
    tries=0
    while runs "$one"; do
        tries=$((tries + 1))
        [ $tries -gt 200 ] && echo "process group $one outlives SIGKILL" && break
        sleep 0.05
    done
done
for space in $spaces; do
    [ ! -e "/run/netns/$space" ] || ip netns del "$space"
done
[ -z "$dir" ] || rm -rf "$dir"
