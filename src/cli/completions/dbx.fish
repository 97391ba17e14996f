# Completions of dbx for fish, written by: dbx completions fish
# They know the command line alone and ask nobody: no server and no database.

# The commands that may follow a place.
function __dbx_below
    switch $argv[1]
        #places
    end
end

# Whether the words before the cursor lead to the place, as in: __dbx_at 'token list'
function __dbx_at
    set -l place
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --config --url --ca-file
                set skip 1
            case '-*'
                continue
            case '*'
                if test -z "$place" -a $word = help
                    continue
                end
                if not contains -- $word (string split ' ' (__dbx_below "$place"))
                    break
                end
                set place (string trim "$place $word")
        end
    end
    test "$place" = "$argv[1]"
end

complete -c dbx -f
