"""The pages that ZooPipe adds to Airflow's UI: the report of one load, and a list of recent loads.

    app.py  ─▶  queries.py  ─▶  reports.py  ─▶  render.py  ─▶  templates/
    who may     XComs and       JSON to         pure: values to HTML
    see what    task instances  PipeReport

All that is shown comes from Airflow's own database, through Airflow's own permission checks. The api-server opens
neither a database nor a file of a load: it has no business with their credentials.
"""
