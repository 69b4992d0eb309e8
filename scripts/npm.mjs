// npm as a program and its first arguments. npm sets npm_execpath when it runs a script; starting it through that needs no
// shell on Windows.

export const npm = process.env.npm_execpath?.endsWith('.js')
  ? [process.execPath, process.env.npm_execpath]
  : process.platform === 'win32'
    ? ['cmd.exe', '/c', 'npm']
    : ['npm'];
