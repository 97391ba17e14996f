# Completions of dbx for PowerShell 5 and later, written by: dbx completions powershell
# They know the command line alone and ask nobody: no server and no database.

Register-ArgumentCompleter -Native -CommandName 'dbx' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # Of each place: what may follow, as name, what it is, and how a flag's value looks.
    $places = @{
        #places
    }

    function Get-Flag($place, $name) {
        $places[$place].flags | Where-Object { $_[0] -eq $name } | Select-Object -First 1
    }

    function New-Result($text, $kind, $tip) {
        if ([string]::IsNullOrEmpty($tip)) { $tip = $text }
        [System.Management.Automation.CompletionResult]::new($text, $text, $kind, $tip)
    }

    # What the flag may be given; nothing lets PowerShell offer files.
    function Get-Value($flag, $prefix, $start) {
        if ($null -eq $flag -or $flag[2] -eq '@') { return }
        foreach ($choice in $flag[2].Split('|')) {
            if ($choice -ne '' -and $choice.StartsWith($start)) {
                New-Result "$prefix$choice" 'ParameterValue' $flag[1]
            }
        }
    }

    $place = ''
    $words = 0
    $waiting = $null
    $seen = @()
    foreach ($element in ($commandAst.CommandElements | Select-Object -Skip 1)) {
        # The word at the cursor is what is to be completed.
        if ($element.Extent.EndOffset -ge $cursorPosition -and $wordToComplete -ne '') { break }
        $word = $element.Extent.Text
        if ($null -ne $waiting -and -not $word.StartsWith('--')) { $waiting = $null; continue }
        $waiting = $null
        if ($word.StartsWith('-')) {
            $seen += $word.Split('=')[0]
            $flag = Get-Flag $place $word
            if ($null -ne $flag -and $flag.Count -gt 2) { $waiting = $flag }
            continue
        }
        $below = "$place $word".Trim()
        if ($words -eq 0 -and $places.ContainsKey($below)) { $place = $below }
        elseif ($place -ne '' -or $word -ne 'help') { $words++ }
    }

    if ($null -ne $waiting -and -not $wordToComplete.StartsWith('--')) {
        Get-Value $waiting '' $wordToComplete
        return
    }
    if ($wordToComplete -match '^(--[^=]+)=(.*)$') {
        Get-Value (Get-Flag $place $Matches[1]) "$($Matches[1])=" $Matches[2]
        return
    }
    if ($wordToComplete.StartsWith('-')) {
        foreach ($flag in $places[$place].flags) {
            $isNew = $seen -notcontains $flag[0] -or ($flag.Count -gt 3 -and $flag[3])
            if ($isNew -and $flag[0].StartsWith($wordToComplete)) {
                New-Result $flag[0] 'ParameterName' $flag[1]
            }
        }
        return
    }
    if ($words -eq 0) {
        foreach ($command in $places[$place].commands) {
            if ($command[0].StartsWith($wordToComplete)) {
                New-Result $command[0] 'Command' $command[1]
            }
        }
    }
    $slots = @($places[$place].slots | Where-Object { $seen -notcontains $_ })
    if ($words -lt $slots.Count) { Get-Value (Get-Flag $place $slots[$words]) '' $wordToComplete }
}
