# Completions of dbx for bash, written by: dbx completions bash
# They know the command line alone and ask nobody: no server and no database.

# What may follow a place: commands, flags, and the flags for which words may stand.
_dbx_place() {
  case $1 in
    #places
    *) commands='' slots='' flags='' ;;
  esac
}

# The words up to the cursor, whole: bash cuts them at = and : as well.
_dbx_line() {
  local each index glue=''
  line=()
  for ((index = 1; index <= COMP_CWORD; index++)); do
    each=${COMP_WORDS[index]}
    if ((${#line[@]} > 0)) && [[ $each == [=:] || (-n $glue && -n $each) ]]; then
      line[${#line[@]} - 1]+=$each
    else
      line+=("$each")
    fi
    if [[ $each == [=:] ]]; then glue=1; else glue=''; fi
  done
}

# Whether a flag takes a value; what it may be is left in spec.
_dbx_takes() {
  local each
  for each in $flags; do
    if [[ $each == "$1="* ]]; then
      spec=${each#*=}
      return 0
    fi
  done
  return 1
}

_dbx_reply() {
  local each
  while IFS= read -r each; do
    if [[ -n $each ]]; then COMPREPLY+=("$prefix$each"); fi
  done
}

# What the flag may be given, as far as the command line knows.
_dbx_values() {
  _dbx_takes "$1" || return 0
  spec=${spec#+}
  spec=${spec#\~}
  if [[ $spec == @ ]]; then
    compopt -o filenames 2>/dev/null
    _dbx_reply < <(compgen -f -- "$cur")
  elif [[ -n $spec ]]; then
    _dbx_reply < <(compgen -W "${spec//|/ }" -- "$cur")
  fi
}

# Flags that are not there yet, or that may be there again.
_dbx_flags() {
  local each name offered=''
  for each in $flags; do
    name=${each%%=*}
    case "$seen" in
      *" $name "* | *" --no-${name#--} "* | *" --${name#--no-} "*)
        [[ $each == *=+* ]] || continue
        ;;
    esac
    offered+=" $name"
  done
  _dbx_reply < <(compgen -W "$offered" -- "$cur")
}

# The flag for which the next word stands, left in slot; none where all have their value.
_dbx_slot() {
  local each='' left=$words
  slot=''
  for each in $slots; do
    if [[ $seen == *" $each "* ]]; then continue; fi
    if ((left == 0)); then
      slot=$each
      return 0
    fi
    left=$((left - 1))
  done
  # The last one may take all that are left.
  if [[ -n $each ]] && _dbx_takes "$each" && [[ $spec == +* ]]; then slot=$each; fi
}

# Sets where the cursor is: the place, the flag whose value it is, the words and flags before.
_dbx_walk() {
  local at word last=$((${#line[@]} - 1))
  cur=${line[last]}
  _dbx_place ''
  for ((at = 0; at < last; at++)); do
    word=${line[at]}
    if [[ -n $ended ]]; then
      words=$((words + 1))
    elif [[ $word == -- ]]; then
      ended=1
    elif [[ $word == -* ]]; then
      seen+="${word%%=*} "
      if _dbx_takes "$word" && [[ ${line[at + 1]} != --* ]]; then
        at=$((at + 1))
        if ((at == last)); then flag=$word; fi
      fi
    elif [[ -z $place && $word == help ]]; then
      continue
    elif ((words == 0)) && [[ " $commands " == *" $word "* ]]; then
      place+=${place:+ }$word
      _dbx_place "$place"
    else
      words=$((words + 1))
    fi
  done
}

_dbx() {
  local line cur flag='' place='' ended='' seen=' ' words=0 prefix=''
  local commands slots flags spec slot
  COMPREPLY=()
  _dbx_line
  _dbx_walk
  if [[ -n $flag ]]; then
    _dbx_values "$flag"
  elif [[ -z $ended && $cur == --*=* ]]; then
    flag=${cur%%=*}
    cur=${cur#*=}
    if [[ $COMP_WORDBREAKS != *=* ]]; then prefix=$flag=; fi
    _dbx_values "$flag"
  elif [[ -z $ended && $cur == -* ]]; then
    _dbx_flags
  elif [[ -n $commands ]]; then
    if ((words == 0)); then _dbx_reply < <(compgen -W "$commands" -- "$cur"); fi
  else
    _dbx_slot
    if [[ -n $slot ]]; then
      _dbx_values "$slot"
    elif [[ -z $ended && -z $cur ]]; then
      _dbx_flags
    fi
  fi
}

complete -F _dbx dbx
