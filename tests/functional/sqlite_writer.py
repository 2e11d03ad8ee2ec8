"""sqlite_writer.py DB JOURNAL: commits numbered rows until killed; each committed number goes to the journal."""
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('pragma journal_mode = wal')
db.execute('create table if not exists t (n integer primary key, half1 text, half2 text)')
n = db.execute('select coalesce(max(n), 0) from t').fetchone()[0]
with open(sys.argv[2], 'a') as journal:
    while True:
        n += 1
        db.execute('begin')
        db.execute('insert into t values (?, ?, ?)', (n, 'a' * (n * 37 % 3000), ''))
        db.execute('update t set half2 = half1 where n = ?', (n,))
        db.execute('commit')
        journal.write(f'{n}\n')
        journal.flush()
