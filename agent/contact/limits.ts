/**
 * How many contacts a station keeps. A household has tens; the limit keeps the file and the table
 * small when a script runs wild. Each costs about 200 bytes.
 */
export const MAX_CONTACTS = 500;

/**
 * The largest `contacts.json` that is read: MAX_CONTACTS entries with every right, four times over.
 */
export const MAX_CONTACTS_FILE_BYTES = 512 * 1024;
