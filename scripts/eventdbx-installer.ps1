# Installs dbx on Windows, without an administrator: the file for this machine is downloaded, its
# SHA-256 is checked, it is tried, and only then is it moved to its place, whole or not at all.
# Nothing runs before the last line has arrived.
#
#   powershell -ExecutionPolicy Bypass -c "irm <where it is>/eventdbx-installer.ps1 | iex"
#   & ([scriptblock]::Create((irm <where it is>/eventdbx-installer.ps1))) -To C:\Tools
param(
    [string]$To = '',
    [string]$Version = '',
    [switch]$NoModifyPath,
    [switch]$Force,
    [switch]$Uninstall,
    [switch]$Quiet,
    [switch]$Verbose,
    [switch]$Help
)

# In a block of its own: what it defines is gone afterwards, and a text that was cut is none.
& {
    param($Asked)

    Set-StrictMode -Version 2
    $ErrorActionPreference = 'Stop'
    # The bar costs more time than the download.
    $ProgressPreference = 'SilentlyContinue'

    # A release writes its tag here, and the SHA-256 of each of its files: <64 hex> *<file>.
    $ReleaseTag = ''
    $ReleaseChecksums = ''

    $Project = 'thachp/eventdbx'
    $SilenceSeconds = 30
    # What functions learn, for those that come later.
    $State = @{
        Folder = ''; IsPlain = $false; Assets = $null; Stage = ''
        Tag = $ReleaseTag; Sums = $ReleaseChecksums
    }

    function Show-Help {
        @'
Installs dbx, an event-sourced, append-only database in one executable.

  -To DIR          Where dbx goes; %LOCALAPPDATA%\dbx\bin when missing.
  -Version TAG     The release, such as v2.0.0; this script's own, or the latest one.
  -NoModifyPath    Do not add the directory to the user's PATH.
  -Force           Replace a dbx.exe in that place that is no EventDBX.
  -Uninstall       Remove dbx from there, and from PATH; data stays.
  -Quiet           Say only what is wrong, and what is added to PATH.
  -Verbose         Say also what is done in between.
  -Help            Show this.

Environment, where no parameter is given:
  EVENTDBX_INSTALL_DIR         dbx goes to its bin
  EVENTDBX_UNMANAGED_INSTALL   dbx goes there, and PATH stays as it is
  EVENTDBX_NO_MODIFY_PATH=1    as -NoModifyPath
  EVENTDBX_PRINT_QUIET=1, EVENTDBX_PRINT_VERBOSE=1
  EVENTDBX_DOWNLOAD_URL        a folder that has the files of a release
  DBX_RELEASES_URL             a releases API in place of GitHub's, as for dbx upgrade
  EVENTDBX_GITHUB_TOKEN        for that API, against its rate limit
'@
    }

    function Get-Setting([string]$Name) {
        foreach ($each in @("EVENTDBX_$Name", "INSTALLER_$Name")) {
            $value = [Environment]::GetEnvironmentVariable($each)
            if (-not [string]::IsNullOrEmpty($value)) { return $value }
        }
        return ''
    }

    function Test-On([string]$Name) { return (Get-Setting $Name) -eq '1' }

    function Write-Words([string]$Words) {
        if (-not ($Asked.Quiet -or (Test-On 'PRINT_QUIET'))) { Write-Host $Words }
    }

    function Write-Detail([string]$Words) {
        if ($Asked.Verbose -or (Test-On 'PRINT_VERBOSE')) { Write-Host "  $Words" }
    }

    # Ends the script, and not the window of whoever piped it into iex, as exit would.
    function Stop-Installing([string]$Problem, [string]$Hint) {
        if ($Hint -ne '') { $Problem = "$Problem (hint: $Hint)" }
        throw $Problem
    }

    function Assert-Machine {
        if ($PSVersionTable.PSVersion.Major -lt 5) {
            Stop-Installing 'this PowerShell is too old' 'it takes version 5 or later'
        }
        if ([Environment]::OSVersion.Platform -ne 'Win32NT') {
            Stop-Installing 'this is not Windows' 'eventdbx-installer.sh is for Linux and macOS'
        }
        # Where Windows 10 was never updated, the older ones are asked for first.
        $both = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
        [Net.ServicePointManager]::SecurityProtocol = $both
    }

    # The names by which releases call this machine, the best one first. A process that is
    # translated is told of another processor, so the system's own note is read.
    function Get-Triple {
        $note = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'
        $processor = (Get-ItemProperty -Path $note).PROCESSOR_ARCHITECTURE
        switch ($processor) {
            'AMD64' { return @('x86_64-pc-windows-msvc') }
            # Windows translates there.
            'ARM64' { return @('aarch64-pc-windows-msvc', 'x86_64-pc-windows-msvc') }
        }
        Stop-Installing "there is no dbx for the processor $processor, but for x64 and ARM64" ''
    }

    function Get-Target {
        $folder = Get-Setting 'INSTALL_DIR'
        $unmanaged = Get-Setting 'UNMANAGED_INSTALL'
        if ($Asked.To -ne '') { $target = $Asked.To }
        elseif ($folder -ne '') { $target = Join-Path $folder 'bin' }
        elseif ($unmanaged -ne '') { $target = $unmanaged }
        elseif ($env:LOCALAPPDATA) { $target = Join-Path $env:LOCALAPPDATA 'dbx\bin' }
        else { Stop-Installing 'LOCALAPPDATA is not set' '-To DIR says where dbx goes' }
        $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($target)
        return $full.TrimEnd('\')
    }

    # What every request has: an end, and the proxy that the environment names.
    function Get-WebOption([string]$Url) {
        $options = @{ Uri = $Url; UseBasicParsing = $true; TimeoutSec = $SilenceSeconds }
        foreach ($proxy in @($env:HTTPS_PROXY, $env:ALL_PROXY)) {
            if ($proxy -and -not $options.ContainsKey('Proxy')) { $options['Proxy'] = $proxy }
        }
        return $options
    }

    # The status that a failed request was answered with; 0 where nothing answered.
    function Get-Status($Failure) {
        $exception = $Failure.Exception
        if (-not ($exception.PSObject.Properties.Name -contains 'Response')) { return 0 }
        if ($null -eq $exception.Response) { return 0 }
        return [int]$exception.Response.StatusCode
    }

    function Find-Release {
        if ($Asked.Version -eq 'latest') { $State.Tag = '' }
        elseif ($Asked.Version -ne '') { $State.Tag = 'v' + $Asked.Version.TrimStart('v') }
        if ($State.Tag -notmatch '^[A-Za-z0-9.+_-]*$') {
            Stop-Installing "$($State.Tag) is no name of a release" ''
        }
        $folder = Get-Setting 'DOWNLOAD_URL'
        # Without TLS only where the place itself was named so, and not where it leads to.
        $State.IsPlain = "$folder$env:DBX_RELEASES_URL".StartsWith('http://')
        if ($folder -ne '') { $State.Folder = $folder.TrimEnd('/') }
        elseif ($env:DBX_RELEASES_URL) { Read-Release $env:DBX_RELEASES_URL.TrimEnd('/') }
        elseif ($State.Tag -ne '') {
            $State.Folder = "https://github.com/$Project/releases/download/$($State.Tag)"
        }
        else { $State.Folder = "https://github.com/$Project/releases/latest/download" }
        # Those in the script are of one release.
        if ($State.Tag -ne $ReleaseTag) { $State.Sums = '' }
    }

    function Read-Release([string]$Api) {
        $place = "$Api/latest"
        if ($State.Tag -ne '') { $place = "$Api/tags/$($State.Tag)" }
        $options = Get-WebOption $place
        $isSafe = -not $State.IsPlain -or ([uri]$Api).IsLoopback
        if ($env:EVENTDBX_GITHUB_TOKEN -and -not $isSafe) {
            Write-Warning 'EVENTDBX_GITHUB_TOKEN is not sent over http:// to another machine'
        }
        elseif ($env:EVENTDBX_GITHUB_TOKEN) {
            $options['Headers'] = @{ Authorization = "Bearer $env:EVENTDBX_GITHUB_TOKEN" }
            # To nobody whom the API names.
            $options['MaximumRedirection'] = 0
        }
        try { $release = Invoke-RestMethod @options }
        catch {
            $status = Get-Status $_
            if ($status -eq 403 -or $status -eq 429) {
                $hint = 'EVENTDBX_GITHUB_TOKEN raises the limit; EVENTDBX_DOWNLOAD_URL needs no API'
                Stop-Installing "the releases API refuses ($status): too many requests" $hint
            }
            if ($status -eq 404) { Stop-Installing "there is no release $($State.Tag) at $Api" '' }
            Stop-Installing "$place did not answer: $($_.Exception.Message)" ''
        }
        if (-not ($release.PSObject.Properties.Name -contains 'tag_name')) {
            Stop-Installing "$place does not answer as a releases API does" ''
        }
        $State.Tag = $release.tag_name
        $State.Assets = $release.assets
    }

    # The URL of a file of the release; empty where the list does not have it.
    function Get-Url([string]$Name) {
        if ($null -eq $State.Assets) { return "$($State.Folder)/$Name" }
        foreach ($asset in $State.Assets) {
            if ($asset.name -eq $Name) { return $asset.browser_download_url }
        }
        return ''
    }

    # Whether it is there; everything else that goes wrong ends the script.
    function Save-File([string]$Url, [string]$Path) {
        if ($Url -eq '') { return $false }
        Write-Detail "asking for $Url"
        $isPlain = $State.IsPlain -and $Url.StartsWith('http://')
        if (-not ($Url.StartsWith('https://') -or $isPlain)) {
            Stop-Installing "$Url is not encrypted, and nobody said that it may be so" ''
        }
        $options = Get-WebOption $Url
        $options['OutFile'] = $Path
        try { Invoke-WebRequest @options | Out-Null }
        catch {
            if ((Get-Status $_) -eq 404) { return $false }
            Stop-Installing "$Url did not come: $($_.Exception.Message)" 'nothing was installed'
        }
        return $true
    }

    # The archive of this machine, in the stage. Its name is returned.
    function Save-Archive {
        foreach ($triple in Get-Triple) {
            $name = "eventdbx-$triple.zip"
            $url = Get-Url $name
            if ($url -ne '') { Write-Words "downloading $url" }
            if (Save-File $url (Join-Path $State.Stage $name)) { return $name }
        }
        Stop-Installing "the release $($State.Tag) has no file for this machine" ''
    }

    # From the script itself where a release stamped it, else from the file beside the archive.
    function Get-ExpectedSum([string]$Name) {
        $lines = $State.Sums
        if ($lines -eq '') {
            $path = Join-Path $State.Stage 'sum'
            if (-not (Save-File (Get-Url "$Name.sha256") $path)) { return '' }
            $lines = [IO.File]::ReadAllText($path)
        }
        $pattern = '(?m)^([0-9a-f]{64}) [ *]' + [regex]::Escape($Name) + '\r?$'
        $found = [regex]::Match($lines, $pattern)
        if ($found.Success) { return $found.Groups[1].Value }
        return ''
    }

    function Assert-Checksum([string]$Name) {
        $expected = Get-ExpectedSum $Name
        if ($expected -eq '') {
            Stop-Installing "there is no checksum for $Name, so it is not installed" ''
        }
        $hash = Get-FileHash -Algorithm SHA256 -LiteralPath (Join-Path $State.Stage $Name)
        $actual = $hash.Hash.ToLowerInvariant()
        if ($actual -ne $expected) {
            $hint = 'nothing was installed; if it stays so, do not trust that place'
            Stop-Installing "checksum mismatch: $Name has $actual, and should have $expected" $hint
        }
        Write-Detail "its SHA-256 is $actual, as it should be"
    }

    # One member goes to one file: whatever else the archive names is not made.
    function Expand-Dbx([string]$Name) {
        Add-Type -AssemblyName System.IO.Compression.FileSystem
        $path = Join-Path $State.Stage 'dbx.exe'
        $archive = [IO.Compression.ZipFile]::OpenRead((Join-Path $State.Stage $Name))
        try {
            $entry = $archive.GetEntry('dbx.exe')
            if ($null -eq $entry) { Stop-Installing "$Name has no dbx.exe inside" '' }
            [IO.Compression.ZipFileExtensions]::ExtractToFile($entry, $path)
        }
        finally { $archive.Dispose() }
        return $path
    }

    # The exit code and what was printed. A process of .NET, because PowerShell 5 takes words on
    # stderr for errors of its own.
    function Invoke-Program([string]$Path, [string]$Words) {
        $start = New-Object Diagnostics.ProcessStartInfo
        $start.FileName = $Path
        $start.Arguments = $Words
        $start.UseShellExecute = $false
        $start.RedirectStandardOutput = $true
        $start.RedirectStandardError = $true
        # A server elsewhere is not the one whose file this is.
        $start.EnvironmentVariables.Remove('EVENTDBX_URL')
        try { $process = [Diagnostics.Process]::Start($start) }
        catch { return @{ Code = -1; Text = $_.Exception.Message } }
        $noise = $process.StandardError.ReadToEndAsync()
        $text = $process.StandardOutput.ReadToEnd()
        $process.WaitForExit()
        if ($text -eq '') { $text = $noise.Result }
        return @{ Code = $process.ExitCode; Text = $text.Trim() }
    }

    # The version of what the path names; empty where that is no EventDBX.
    function Get-DbxVersion([string]$Path) {
        $ran = Invoke-Program $Path '--version'
        if ($ran.Code -eq 0 -and $ran.Text -match '^(event)?dbx ([0-9]\S*)$') { return $Matches[2] }
        return ''
    }

    # A file that runs can be renamed, and not replaced: so it goes aside, where dbx removes it when
    # it starts the next time.
    function Move-Aside([string]$Path) {
        $aside = "$Path.old"
        try { Remove-Item -LiteralPath $aside -Force -ErrorAction Stop }
        catch {
            if (Test-Path -LiteralPath $aside) { $aside = "$Path.$([guid]::NewGuid()).old" }
        }
        Move-Item -LiteralPath $Path -Destination $aside
        return $aside
    }

    function Set-Dbx([string]$New, [string]$Target) {
        $place = Join-Path $Target 'dbx.exe'
        $aside = ''
        if (Test-Path -LiteralPath $place) {
            $before = Get-DbxVersion $place
            if ($before -eq '' -and -not $Asked.Force) {
                $hint = '-Force replaces it; -To DIR names another place'
                Stop-Installing "$place is something else than EventDBX, or is damaged" $hint
            }
            Write-Detail "replacing dbx $before"
            $aside = Move-Aside $place
        }
        try { Move-Item -LiteralPath $New -Destination $place }
        catch {
            if ($aside -ne '') { Move-Item -LiteralPath $aside -Destination $place }
            throw
        }
        if ($aside -ne '') { Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue }
        return $place
    }

    # As it is written, with the variables in it: what they stand for may change.
    function Get-UserPath {
        $key = [Microsoft.Win32.Registry]::CurrentUser.OpenSubKey('Environment')
        try { return [string]$key.GetValue('Path', '', 'DoNotExpandEnvironmentNames') }
        finally { $key.Close() }
    }

    function Set-UserPath([string]$Value) {
        Set-ItemProperty -Path 'HKCU:\Environment' -Name 'Path' -Value $Value -Type ExpandString
        # The registry tells nobody; a variable that is set does, so that new windows know it.
        [Environment]::SetEnvironmentVariable('DBX_INSTALLER', '1', 'User')
        [Environment]::SetEnvironmentVariable('DBX_INSTALLER', $null, 'User')
    }

    function Add-ToPath([string]$Target) {
        if ($env:GITHUB_PATH) { Add-Content -LiteralPath $env:GITHUB_PATH -Value $Target }
        if (($env:Path -split ';') -contains $Target) { return }
        $isUnmanaged = $Asked.To -eq '' -and (Get-Setting 'INSTALL_DIR') -eq '' -and
            (Get-Setting 'UNMANAGED_INSTALL') -ne ''
        if ($isUnmanaged -or $Asked.NoModifyPath -or (Test-On 'NO_MODIFY_PATH')) {
            Write-Words "$Target is not on PATH, and was not added."
            return
        }
        if ($Target.Contains(';')) {
            Write-Warning "$Target cannot be on PATH, because of its name"
            return
        }
        $before = Get-UserPath
        if (($before -split ';') -notcontains $Target) {
            # Also where quiet was asked for: nobody's settings are changed in silence.
            Write-Host "Adding $Target to the Path of this user (HKCU\Environment), in front."
            Write-Host 'To undo that, remove it there, or run this script with -Uninstall.'
            Set-UserPath ("$Target;$before".TrimEnd(';'))
        }
        $env:Path = "$Target;$env:Path"
        Write-Words 'This window and new ones find dbx; those that are open do not.'
    }

    function Remove-FromPath([string]$Target) {
        $before = Get-UserPath
        $kept = @($before -split ';' | Where-Object { $_ -ne $Target }) -join ';'
        if ($kept -eq $before) { return }
        Set-UserPath $kept
        Write-Words "removed $Target from the Path of this user"
    }

    # Another dbx that comes first on PATH would be the one that runs.
    function Show-Shadow([string]$Place) {
        $found = Get-Command -Name 'dbx' -CommandType Application -All -ErrorAction Ignore
        foreach ($other in @($found)) {
            if ($other.Source -eq $Place) { return }
            Write-Warning "in this window dbx is another one, which comes first: $($other.Source)"
        }
    }

    function Uninstall-Dbx([string]$Target) {
        $place = Join-Path $Target 'dbx.exe'
        if (Test-Path -LiteralPath $place) {
            if ((Get-DbxVersion $place) -eq '' -and -not $Asked.Force) {
                Stop-Installing "$place is something else than EventDBX" '-Force removes it'
            }
            if ((Invoke-Program $place 'status').Code -eq 0) {
                Stop-Installing 'a server of dbx is running' "stop it first: $place stop"
            }
            Remove-Item -LiteralPath $place -Force
            Write-Words "removed $place"
        }
        else { Write-Words "there is no $place" }
        Get-ChildItem -Path $Target -Filter 'dbx.exe*.old' -ErrorAction Ignore |
            Remove-Item -Force -ErrorAction SilentlyContinue
        Remove-FromPath $Target
        Write-Words "Data and configuration are still there: $HOME\.eventdbx, or where you said."
    }

    function Remove-Stage([string]$Path) {
        Remove-Item -LiteralPath $Path -Recurse -Force -ErrorAction SilentlyContinue
    }

    # Beside the place of dbx, so that the last step is a rename on one volume. What a killed run
    # has left there is removed; a run that may be at work is left alone.
    function New-Stage([string]$Target) {
        $path = Join-Path $Target ".dbx-install.$([guid]::NewGuid())"
        New-Item -ItemType Directory -Force -Path $path | Out-Null
        $lately = (Get-Date).AddHours(-1)
        foreach ($left in @(Get-ChildItem -Path $Target -Filter '.dbx-install.*' -Force)) {
            if ($left.LastWriteTime -lt $lately) { Remove-Stage $left.FullName }
        }
        return $path
    }

    function Install-Dbx([string]$Target) {
        $State.Stage = New-Stage $Target
        try {
            Find-Release
            $name = Save-Archive
            Assert-Checksum $name
            $new = Expand-Dbx $name
            $version = Get-DbxVersion $new
            if ($version -eq '') {
                $words = (Invoke-Program $new '--version').Text
                Stop-Installing "the downloaded dbx does not run on this machine: $words" ''
            }
            $place = Set-Dbx $new $Target
        }
        finally { Remove-Stage $State.Stage }
        Write-Words "dbx $version is installed: $place"
        Add-ToPath $Target
        Show-Shadow $place
        Write-Words 'Begin with: dbx start, or dbx --help'
    }

    if ($Asked.Help) { return Show-Help }
    Assert-Machine
    $target = Get-Target
    if ($Asked.Uninstall) { Uninstall-Dbx $target } else { Install-Dbx $target }
} @{
    To = $To; Version = $Version; NoModifyPath = $NoModifyPath; Force = $Force
    Uninstall = $Uninstall; Quiet = $Quiet; Verbose = $Verbose; Help = $Help
}
